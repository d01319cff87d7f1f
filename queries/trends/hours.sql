-- Hours of a night on which clocks go back: two o'clock is there twice, and hours without events are there too.
TREND * PER HOUR FROM '2023-10-29T00:00' TO '2023-10-29T05:00' IN ZONE 'Europe/Berlin';
