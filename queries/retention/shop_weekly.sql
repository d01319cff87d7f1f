-- Weeks of the shop: every week's visitors who buy in that week and in later ones, by calendar and from the visit on.
RETENTION productView THEN purchase PER WEEK FOR 3 RECURRING FROM '2024-03-04' TO '2024-03-25' AS OF '2024-04-10';
RETENTION productView THEN purchase PER WEEK FOR 3 RECURRING ROLLING FROM '2024-03-04' TO '2024-03-25' AS OF '2024-04-10';
RETENTION productView THEN purchase PER DAY BRACKETS (0, 1, 4, 8) IN ZONE 'Europe/Zagreb' FROM '2024-03-04' TO '2024-03-07' CELLS;
RETENTION productView THEN purchase ON OR AFTER PER MONTH FOR 2 BY platform FROM '2024-03-01' TO '2024-05-01';
