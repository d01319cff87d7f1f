-- By the platform of the first step, where the reported chain began: the rows of each step sum to the funnel without BY.
FUNNEL productView, addToCart, purchase WITHIN 7 DAYS BY platform AS OF '2025-01-01';
SELECT step, SUM(persons) AS persons
FROM (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS BY platform AS OF '2025-01-01')
GROUP BY step ORDER BY step;
