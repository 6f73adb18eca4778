"""What keys mean together: the file of the table whose key a rule complains at."""
