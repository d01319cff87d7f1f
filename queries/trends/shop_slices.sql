-- The channels with the most views, and the others together; NULL would be a row of its own.
TREND productView, productView AS a PER MONTH BY "acquisitionChannel" TOP 2 FROM '2024-03-01' TO '2024-05-01';
