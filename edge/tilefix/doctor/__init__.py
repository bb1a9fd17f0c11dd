"""`tilefix doctor`: is the autopilot set up for the positions that it will be sent?"""
