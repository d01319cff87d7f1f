-- One day of Berlin in autumn has 25 hours; the hour from two to three comes twice.
WITH hours AS (
  SELECT t FROM generate_series(TIMESTAMP '2024-10-26T22:00:00Z', TIMESTAMP '2024-10-27T23:00:00Z', INTERVAL '1 hour') AS s(t)
)
SELECT local_day(t, 'Europe/Berlin') AS day, COUNT(*) AS hours
FROM hours
GROUP BY 1
ORDER BY 1;
