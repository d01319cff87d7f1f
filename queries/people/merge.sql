-- Two persons are one: the earliest created stands for both, at once and in every table, and it can be undone.
SELECT externalPersonId, count(*) AS events
FROM events
WHERE externalPersonId IN ('user_0024', 'user_0025')
GROUP BY 1
ORDER BY 1;
MERGE PERSONS 'user_0024', 'user_0025';
SELECT externalPersonId, count(*) AS events
FROM events
WHERE externalPersonId IN ('user_0024', 'user_0025')
GROUP BY 1
ORDER BY 1;
SELECT count(DISTINCT personId) AS persons FROM events WHERE definitionId <> 'cdPurchased';
UNMERGE PERSON 'user_0025';
SELECT externalPersonId, count(*) AS events
FROM events
WHERE externalPersonId IN ('user_0024', 'user_0025')
GROUP BY 1
ORDER BY 1;
SELECT count(*) AS merges, count(undone_at) AS undone FROM system.merges;
