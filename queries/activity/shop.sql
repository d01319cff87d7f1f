-- Who is new, returns, comes back or falls silent; on how many days of a month persons come; how long they stay.
LIFECYCLE * PER MONTH FROM '2024-01-01' TO '2024-07-01';
STICKINESS purchase PER MONTH;
SESSIONS PER MONTH FROM '2024-02-01' TO '2024-05-01';
SESSIONS ENTRY "definitionId" TOP 3;
