"""What is wrong, where and how to mend it: the value, its codes, its text."""
