-- Any order with anchors: landing first and buying last, and the two steps between as they come.
SELECT step, event, persons
FROM (FUNNEL home, search, productView, purchase WITHIN 1 DAY ANY ORDER ANCHORING 1, 4 AS OF '2025-01-01');
