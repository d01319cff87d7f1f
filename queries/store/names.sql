-- What the events of the demo are called, and what they carry.
SELECT id, title, category, enabled
FROM definitions
WHERE category = 'external'
ORDER BY id;
