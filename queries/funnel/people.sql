-- By a segment: those who are in it, and all others as NULL; the rows of each step sum to the funnel without BY.
CREATE SEGMENT regulars AS PERSONS WHERE DID purchase AT LEAST 3 TIMES;
SELECT segment, step, persons, percent
FROM (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS BY SEGMENT regulars AS OF '2025-01-01');
-- Who stopped after the cart becomes a segment of its own, of as many as the funnel counts.
CREATE STATIC SEGMENT hesitated AS
  FUNNEL productView, addToCart, purchase WITHIN 7 DAYS AS OF '2025-01-01' LISTING PERSONS DROPPED AFTER STEP 2;
SELECT step, persons FROM (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS FOR SEGMENT hesitated AS OF '2025-01-01');
DROP SEGMENT hesitated; DROP SEGMENT regulars;
