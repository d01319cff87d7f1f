-- What buyers of CDs spend in a quarter: all of them, a buyer, an order, and the order below which half of them lie.
TREND SUM(price) OF cdPurchased AS revenue, SUM(price) PER PERSON OF cdPurchased AS a_buyer, AVG(price) OF cdPurchased AS an_order,
  MEDIAN(price) OF cdPurchased AS median, PERCENTILE(price, 0.9) OF cdPurchased AS p90, COUNT PER PERSON OF cdPurchased AS orders_a_buyer
  PER QUARTER FROM '1997-01-01' TO '1998-07-01';
