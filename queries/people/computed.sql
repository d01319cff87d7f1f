-- What persons did as columns of persons: how often, how much, the last, the most common; a formula of them; a score.
CREATE COMPUTED ATTRIBUTE spentOnCds AS SUM(price) OF cdPurchased SINCE '1997-06-01';
CREATE COMPUTED ATTRIBUTE views DESCRIPTION 'products looked at' AS COUNT OF productView;
CREATE COMPUTED ATTRIBUTE viewsOnDesktop AS COUNT OF productView WHERE platform = 'desktop' WITHOUT FIRST SINCE '2024-03-01';
CREATE COMPUTED ATTRIBUTE usualPlatform AS MOST COMMON(platform) OF productView;
CREATE COMPUTED ATTRIBUTE lastBuy AS MAX(occurredTime) OF purchase;
CREATE COMPUTED ATTRIBUTE buys AS COUNT OF purchase;
CREATE COMPUTED ATTRIBUTE viewsOfABuy AS FORMULA (round(views * 1.0 / nullif(buys, 0), 1));
CREATE SCORE fondness AS 10 WHEN DID purchase, 5 WHEN DID productView AT LEAST 100 TIMES, -20 WHEN views > 300 AND lastBuy IS NULL;
SELECT externalPersonId, views, viewsOnDesktop, usualPlatform, lastBuy, buys, viewsOfABuy, fondness
FROM persons WHERE views > 0 ORDER BY views DESC, externalPersonId LIMIT 5;
SELECT (SELECT count(*) FROM persons WHERE views > 0) AS by_attribute, (SELECT count(DISTINCT personId) FROM productView) AS by_events,
       (SELECT sum(views) FROM persons) AS sum_of_views, (SELECT count(*) FROM productView) AS views;
CREATE SEGMENT fond AS PERSONS WHERE fondness >= 15;
SHOW COMPUTED ATTRIBUTES;
SHOW SCORES;
DROP SEGMENT fond;
DEACTIVATE SCORE fondness;
SELECT fondness, count(*) AS persons FROM persons GROUP BY fondness ORDER BY fondness;
DROP SCORE fondness;
DROP COMPUTED ATTRIBUTE viewsOfABuy;
DROP COMPUTED ATTRIBUTE buys;
DROP COMPUTED ATTRIBUTE lastBuy;
DROP COMPUTED ATTRIBUTE usualPlatform;
DROP COMPUTED ATTRIBUTE viewsOnDesktop;
DROP COMPUTED ATTRIBUTE views;
SELECT count(spentOnCds) AS customers, round(sum(spentOnCds), 2) AS dollars FROM persons;
SELECT count(DISTINCT personId) AS customers, round(sum(price), 2) AS dollars FROM cdPurchased WHERE occurredTime >= '1997-06-01';
DROP COMPUTED ATTRIBUTE spentOnCds;
