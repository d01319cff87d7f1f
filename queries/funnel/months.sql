-- By the month of entry on the calendar of a zone, as of a day on which some windows are still open.
FUNNEL productView WHERE platform = 'web' OR platform = 'mobile', addToCart AS "Cart", purchase
WITHIN 30 DAYS PER MONTH IN ZONE 'Europe/Zagreb' AS OF '2024-05-10';
