"""One batch of changes through read → parse → chunk → diff → embed → store → ledger; decides nothing itself.

plan    each change alone: a bad document fails here and its neighbours go on
embed   every text that no cache remembers, in steps; something urgent may run between two of them
begin   the ledger notes every id about to be touched        (a crash from here on leaves them unknown)
upsert  new points                                           (both revisions are there, the old one is shown)
prove   what is new is there and found                       (else the old revision stays, and this is tried again)
switch  search shows the new revision                        ← searchable
relabel, remove, flush
prove   what is old is gone, what is new is shown
commit  the ledger notes what the store now holds for sure   ← durable
"""

from freshd.pipeline.batch import MAX_BATCH_CHUNKS, Pipeline
from freshd.pipeline.recipe import Recipe

__all__ = ["MAX_BATCH_CHUNKS", "Pipeline", "Recipe"]
