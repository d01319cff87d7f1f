-- Revenue by quarter: exact counts and sums, the median and the 95th percentile by linear interpolation.
SELECT date_trunc('quarter', occurredTime) AS quarter,
       SUM(amount) AS cds,
       ROUND(SUM(price), 2) AS revenue,
       PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY price) AS median,
       ROUND(PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY price), 2) AS p95
FROM cdPurchased
GROUP BY 1
ORDER BY 1;
