-- The last things one person did. A condition on externalPersonId becomes one on personId before files are opened.
SELECT occurredTime, definitionId, sessionId
FROM events
WHERE externalPersonId = 'user_0024'
ORDER BY occurredTime DESC, definitionId
LIMIT 5;
