"""The cloud side of the pipeline: handlers translate, logic decides, catalog and adapters talk.

handlers/   one module per Lambda function: payload in, result out
logic/      what is to be done, without AWS's or MySQL's words
catalog/    MySQL: the only place with SQL
adapters/   AWS: the only place with boto3
errors.py   every way to fail, by the name that the state machines match
"""
