-- How many events and how many persons there were on each day of one week.
SELECT day, COUNT(*) AS events, COUNT(DISTINCT personId) AS persons
FROM events
WHERE day BETWEEN DATE '2024-03-04' AND DATE '2024-03-10'
GROUP BY day
ORDER BY day;
