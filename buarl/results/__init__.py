"""The paper's tables as rows, the ledger of runs, tables of scores."""
