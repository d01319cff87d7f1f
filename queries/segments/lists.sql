-- A list of persons that another question found is a segment; who enters and leaves a live one is seen.
CREATE STATIC SEGMENT dropped AS (FUNNEL productView, addToCart, purchase WITHIN 7 DAYS AS OF '2025-01-01' LISTING PERSONS DROPPED AFTER STEP 2);
CREATE STATIC SEGMENT came_back AS (RETENTION productView THEN purchase PER MONTH FROM '2024-03-01' PERSONS OF '2024-03-01' PERIOD 1);
CREATE STATIC SEGMENT phones AS (SELECT personId FROM productView WHERE platform = 'mobile');
OVERLAP OF dropped, came_back, phones;
CREATE SEGMENT buyers AS PERSONS WHERE DID purchase;
REFRESH SEGMENT buyers;
SELECT segment, COUNT(*) AS persons, COUNT(entered) AS entered, COUNT("left") AS gone FROM system.segment_members GROUP BY segment;
DROP SEGMENT dropped;
DROP SEGMENT came_back;
DROP SEGMENT phones;
DROP SEGMENT buyers;
