-- Which events there are, how often, and by how many persons.
SELECT definitionId, COUNT(*) AS events, COUNT(DISTINCT personId) AS persons
FROM events
GROUP BY definitionId
ORDER BY events DESC, definitionId;
