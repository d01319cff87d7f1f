-- Where people buy, by platform; a person may use several.
SELECT platform, COUNT(*) AS purchases, COUNT(DISTINCT personId) AS buyers
FROM purchase
GROUP BY platform
ORDER BY purchases DESC, platform;
