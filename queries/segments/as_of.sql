-- Who had put something into the cart and gone to pay, but not bought within a day, as of a moment. Behind it: buyers who stopped.
PERSONS WHERE SEQUENCE addToCart THEN paymentDetails NOT FOLLOWED BY purchase WITHIN 24 HOURS IN LAST 3 DAYS AS OF '2024-04-10';
SELECT 'bought in the two weeks before the last two, and not since' AS next;
PERSONS WHERE STOPPED purchase FOR 14 DAYS AND DID productView FIRST TIME SINCE '2024-03-15' AS OF '2024-04-20';
