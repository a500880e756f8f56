"""From operations to steps of a commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.protocols.store import (
    AppendMessages,
    AppendRecord,
    ClaimRun,
    ClearState,
    CreateResource,
    DeleteResource,
    DeleteThread,
    DropJournal,
    HoldBlob,
    Operation,
    PutBlob,
    ReleaseBlobs,
    ReleaseRun,
    SendSignal,
    SetState,
    UpdateResource,
    UpsertVectors,
)
from kastra_plugin_libsql._operations import check_writes
from kastra_plugin_libsql._remote import data_steps, resource_steps, run_steps, vector_steps
from kastra_plugin_libsql._remote.steps import RemoteStep

__all__ = ["prepare"]

_PREPARE: dict[type, Callable[[Any, int], RemoteStep]] = {
    CreateResource: resource_steps.Create,
    UpdateResource: resource_steps.Update,
    DeleteResource: resource_steps.Delete,
    ClaimRun: run_steps.Claim,
    ReleaseRun: run_steps.Release,
    AppendRecord: lambda op, inline_bytes: _append(op, inline_bytes),
    DropJournal: run_steps.Drop,
    SendSignal: run_steps.Send,
    SetState: data_steps.SetStateStep,
    ClearState: data_steps.ClearStateStep,
    AppendMessages: data_steps.AppendMessagesStep,
    DeleteThread: data_steps.DeleteThreadStep,
    UpsertVectors: vector_steps.UpsertVectorsStep,
    PutBlob: data_steps.PutBlobStep,
    HoldBlob: data_steps.HoldBlobStep,
    ReleaseBlobs: data_steps.ReleaseBlobsStep,
}


def _append(op: AppendRecord, inline_bytes: int) -> RemoteStep:
    check_writes(op)
    return run_steps.Append(op, inline_bytes, [prepare(write, inline_bytes) for write in op.writes])


def prepare(operation: Operation, inline_bytes: int) -> RemoteStep:
    """Do what needs no server (JSON, digests). Raises: TypeError, StoreError."""
    try:
        make = _PREPARE[type(operation)]
    except KeyError:
        raise TypeError(f"{type(operation).__name__} is no operation of a store") from None
    return make(operation, inline_bytes)
