-- How many viewed a product, then put one into the cart, then bought, within seven days of the view; and how long it took.
FUNNEL productView, addToCart, purchase WITHIN 7 DAYS AS OF '2025-01-01';
