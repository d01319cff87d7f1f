-- Steps that may be left out, times between steps, excluded events, held properties, attempts instead of persons.
FUNNEL productView, OPTIONAL search AS "searched", addToCart WITHIN 1 DAY OF PREVIOUS, purchase WITHIN 7 DAYS
EXCLUDING supportChat BETWEEN 3 AND 4, paymentError WHERE platform = 'web' AS OF '2025-01-01';
FUNNEL (home, promoPage) AS "landed", productView, purchase WITHIN 1 DAY HOLDING platform COUNTING TOTALS AS OF '2025-01-01';
