print("mine, too")
