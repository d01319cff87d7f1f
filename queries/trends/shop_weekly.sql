-- Weeks of the shop: views, different persons, and buyers among them in percent, with the four weeks before beside them.
TREND productView, PERSONS OF productView AS viewers, PERSONS OF purchase AS buyers FORMULA 'buyers / viewers * 100' AS percent
  PER WEEK FROM '2024-04-01' TO '2024-04-29' COMPARE;
-- Persons who came so far, each counted once, and the average of three weeks.
TREND PERSONS OF home AS persons PER WEEK CUMULATIVE MOVING 3 FROM '2024-04-01' TO '2024-04-29';
