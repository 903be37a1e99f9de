"""Between the daemon and people: requests, answers, the live status, the instance lock."""
