-- A question stands wherever a query may: in a subquery, a join, a WITH, a view.
SELECT cohort, persons, returned, ROUND(rate, 3) AS rate
FROM (RETENTION productView THEN purchase PER WEEK FOR 3 RECURRING FROM '2024-03-04' TO '2024-03-25' AS OF '2024-04-10' CELLS)
WHERE period = 1 ORDER BY cohort;
WITH months AS (TREND productView AS views, PERSONS OF purchase AS buyers PER MONTH FROM '2024-01-01' TO '2024-07-01')
SELECT MAX(views) AS most_views, SUM(buyers) AS buyers FROM months;
CREATE VIEW life AS LIFECYCLE * PER MONTH FROM '2024-01-01' TO '2024-07-01';
SELECT SUM(new) AS new, MAX(dormant) AS most_dormant FROM life;
SELECT one.days AS days, one.persons AS views, other.persons AS buys
FROM (STICKINESS productView FROM '2024-03-01' TO '2024-04-01') AS one
LEFT JOIN (STICKINESS purchase FROM '2024-03-01' TO '2024-04-01') AS other ON one.days = other.days
ORDER BY one.days LIMIT 3;
SELECT COUNT(*) AS sessions_of_days, SUM(sessions) AS sessions FROM (SESSIONS PER DAY FROM '2024-02-01' TO '2024-03-01');
SELECT path, persons FROM (PATHS FROM search STEPS 1 WITHIN 1 HOUR TOP 2) WHERE step = 1 ORDER BY persons DESC, path;
SELECT platform, COUNT(DISTINCT personId) AS persons FROM productView
WHERE personId IN (PERSONS WHERE DID purchase AT LEAST 3 TIMES AND NOT DID search) GROUP BY platform ORDER BY platform;
