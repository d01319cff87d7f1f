-- Profiles are rows: they are inserted, changed, tagged, asked for by any attribute, joined to events, and deleted.
CREATE PERSON ATTRIBUTE points INTEGER;
INSERT INTO persons (externalPersonId, firstName, city, email, points) VALUES
    ('crm-1', 'Ana', 'Pula', 'ana@example.com', 120),
    ('crm-2', 'Bo', 'Split', 'bo@example.com', 7),
    ('crm-3', 'Iva', NULL, NULL, NULL);
UPDATE persons SET points = points + 1, country = 'Croatia' WHERE city IS NOT NULL;
TAG PERSONS WHERE points > 100 WITH 'vip', 'early';
UNTAG PERSON 'crm-1' WITH 'early';
SELECT externalPersonId, type, firstName, city, country, points, tags, emails
FROM persons
WHERE externalPersonId LIKE 'crm-%'
ORDER BY externalPersonId;
UPDATE persons SET city = 'Rijeka' WHERE externalPersonId = 'user_0024';
SELECT p.city, count(*) AS events
FROM events e JOIN persons p ON p.personId = e.personId
WHERE p.city IS NOT NULL
GROUP BY p.city;
UPDATE persons SET city = NULL WHERE externalPersonId = 'user_0024';
SHOW PERSON ATTRIBUTES;
DELETE FROM persons WHERE externalPersonId LIKE 'crm-%';
DROP PERSON ATTRIBUTE points;
