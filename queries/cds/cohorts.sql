-- Of those who first bought in a month of 1997, how many bought again in each of the three months after.
WITH firsts AS (
  SELECT personId, MIN(occurredTime) AS first_time FROM cdPurchased GROUP BY personId
),
months AS (
  SELECT f.personId,
         date_trunc('month', f.first_time) AS cohort,
         12 * (date_part('year', c.occurredTime) - date_part('year', f.first_time))
           + date_part('month', c.occurredTime) - date_part('month', f.first_time) AS later
  FROM firsts f JOIN cdPurchased c ON c.personId = f.personId
)
SELECT cohort,
       COUNT(DISTINCT personId) AS persons,
       COUNT(DISTINCT CASE WHEN later = 1 THEN personId END) AS month_1,
       COUNT(DISTINCT CASE WHEN later = 2 THEN personId END) AS month_2,
       COUNT(DISTINCT CASE WHEN later = 3 THEN personId END) AS month_3
FROM months
GROUP BY cohort
ORDER BY cohort;
