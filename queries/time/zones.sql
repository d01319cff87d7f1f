-- One day of Berlin in autumn has 25 hours; the hour from two to three comes twice.
WITH hours AS (
  SELECT TIMESTAMP '2024-10-26T22:00:00Z' + n * INTERVAL '1 hour' AS t FROM generate_series(0, 25) AS s(n)
)
SELECT local_day(t, 'Europe/Berlin') AS day, COUNT(*) AS hours
FROM hours
GROUP BY 1
ORDER BY 1;
