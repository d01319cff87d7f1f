-- The persons behind a number: as many as the funnel counts, and what else is known of them.
SELECT state, COUNT(*) AS persons, ROUND(AVG(seconds) / 3600, 2) AS hours
FROM (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS AS OF '2025-01-01' LISTING PERSONS)
GROUP BY state ORDER BY state;
SELECT externalPersonId, step, entered
FROM (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS AS OF '2025-01-01' LISTING PERSONS DROPPED AFTER STEP 2)
JOIN persons USING (personId)
ORDER BY entered LIMIT 3;
CREATE VIEW slow AS FUNNEL productView, purchase WITHIN 30 DAYS AS OF '2025-01-01' LISTING PERSONS REACHING STEP 2;
SELECT COUNT(*) AS persons FROM slow WHERE seconds > 86400;
