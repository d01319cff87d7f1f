-- What persons did directly after their first search, and what came directly before their last purchase.
SELECT then_came, COUNT(*) AS persons
FROM (SELECT next_event(occurredTime, definitionId, definitionId = 'search') AS then_came
      FROM events WHERE day >= DATE '2024-01-01' GROUP BY personId)
GROUP BY then_came ORDER BY persons DESC, then_came LIMIT 5;
SELECT came_before, COUNT(*) AS persons
FROM (SELECT next_event('backward', 'last_match', occurredTime, definitionId, definitionId = 'purchase') AS came_before
      FROM events WHERE day >= DATE '2024-01-01' GROUP BY personId)
WHERE came_before IS NOT NULL
GROUP BY came_before ORDER BY persons DESC, came_before LIMIT 5;
