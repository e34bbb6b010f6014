"""Storage commitment: what S3 has verified, who asked about it, and who has been told.

database   the SQLite file that all worker processes share
ledger     what S3 has, and how far it is with each association
requests   commitment requests and their results
service    resolves requests and reports results
"""
