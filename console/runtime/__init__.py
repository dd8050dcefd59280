"""The only loop and what it drives: monitors run or followed, the sentry, the night's duties.

It knows every other room but the screen and the command line, which are handed what it offers.
"""
