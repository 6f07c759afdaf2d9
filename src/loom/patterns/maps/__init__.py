"""Maps: functions of the user, arithmetic and named functions, element by element."""
