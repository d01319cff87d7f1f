-- How long it took from the first step to the last: bars that grow with the time, or of ten minutes each.
FUNNEL productView, addToCart, purchase WITHIN 7 DAYS HISTOGRAM AS OF '2025-01-01';
FUNNEL productView, addToCart, purchase WITHIN 1 HOUR HISTOGRAM OF STEP 2 EVERY 10 MINUTES AS OF '2025-01-01';
SELECT platform, SUM(persons) AS persons
FROM (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS BY platform HISTOGRAM AS OF '2025-01-01')
GROUP BY platform ORDER BY platform;
