-- How many persons viewed a product, then put one into the cart, then bought, all within 7 days of the view.
-- For each event: the latest view that a chain up to here can have started with, while it is still in its window.
WITH steps AS (
  SELECT personId, occurredTime AS t, 1 AS step FROM productView
  UNION ALL SELECT personId, occurredTime, 2 FROM addToCart
  UNION ALL SELECT personId, occurredTime, 3 FROM purchase
),
viewed AS (
  SELECT *, MAX(CASE WHEN step = 1 THEN t END) OVER (PARTITION BY personId ORDER BY t, step) AS started
  FROM steps
),
carted AS (
  SELECT *, MAX(CASE WHEN step = 2 AND t <= started + INTERVAL '7 days' THEN started END)
              OVER (PARTITION BY personId ORDER BY t, step) AS went_on
  FROM viewed
),
reached AS (
  SELECT personId, MAX(CASE WHEN step = 3 AND t <= went_on + INTERVAL '7 days' THEN 3
                            WHEN step = 2 AND t <= started + INTERVAL '7 days' THEN 2
                            WHEN step = 1 THEN 1
                            ELSE 0 END) AS level
  FROM carted
  GROUP BY personId
),
funnel AS (
  SELECT 1 AS step, 'productView' AS event, COUNT(*) AS persons FROM reached WHERE level >= 1
  UNION ALL SELECT 2, 'addToCart', COUNT(*) FROM reached WHERE level >= 2
  UNION ALL SELECT 3, 'purchase', COUNT(*) FROM reached WHERE level >= 3
)
SELECT step, event, persons, ROUND(100.0 * persons / MAX(persons) OVER (), 1) AS percent
FROM funnel
ORDER BY step;
