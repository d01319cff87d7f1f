-- The same steps with anything between, with nothing between, in whatever order, and with the first entry alone.
SELECT 'anything between' AS way, step, persons FROM (FUNNEL catalog, productView, addToCart WITHIN 1 HOUR)
UNION ALL SELECT 'nothing between', step, persons FROM (FUNNEL catalog, productView, addToCart WITHIN 1 HOUR STRICT)
UNION ALL SELECT 'any order', step, persons FROM (FUNNEL catalog, productView, addToCart WITHIN 1 HOUR ANY ORDER)
UNION ALL SELECT 'first entry', step, persons FROM (FUNNEL catalog, productView, addToCart WITHIN 1 HOUR ENTRY FIRST)
ORDER BY way, step;
