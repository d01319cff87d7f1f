-- Buyers who came back, and those who looked a lot and never bought; how far they cover each other.
CREATE OR REPLACE SEGMENT regulars AS PERSONS WHERE DID purchase AT LEAST 3 TIMES ON AT LEAST 2 DAYS;
CREATE OR REPLACE SEGMENT lookers AS PERSONS WHERE DID productView AT LEAST 10 TIMES AND NOT DID purchase;
SHOW SEGMENTS;
SELECT platform, COUNT(DISTINCT personId) AS persons FROM productView WHERE personId IN (SELECT personId FROM segments.regulars)
GROUP BY platform ORDER BY platform;
OVERLAP OF regulars, lookers;
TREND productView, PERSONS OF productView FOR SEGMENT lookers PER MONTH FROM '2024-01-01' TO '2024-07-01';
RETENTION productView THEN purchase FOR SEGMENT regulars PER MONTH FOR 3 FROM '2024-02-01' TO '2024-04-01';
DROP SEGMENT regulars;
DROP SEGMENT lookers;
