-- Of the persons who bought their first CD in a month: how many bought again after so many months, and of those of
-- January, who came back in the sixth?
RETENTION cdPurchased THEN cdPurchased PER MONTH FOR 6 FROM '1997-01-01' TO '1997-04-01';
SELECT 'persons of a cell' AS next;
RETENTION cdPurchased WHERE price > 100 THEN cdPurchased WHERE price > 100 PER MONTH FOR 6 PERSONS OF '1997-02-01' PERIOD 6;
