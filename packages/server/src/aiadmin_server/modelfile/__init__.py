"""Models made of others: a `Recipe` says what of, `parsing` and `writing` know it as a Modelfile's text, `bases` finds
the files, `creating` makes the model. Used by the command line and by `/api/create`.
"""
