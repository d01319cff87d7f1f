-- What persons do within an hour of their first search, and what led to their first purchase.
PATHS FROM search STEPS 3 WITHIN 1 HOUR TOP 2;
PATHS TO purchase STEPS 2 WITHIN 30 MINUTES TOP 3 FROM '2024-03-01' TO '2024-05-01';
