"""The rules a second time: plain, slow, sharing no code with the program."""
