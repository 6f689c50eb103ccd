"""The files connector: a directory tree as documents.

In data order: `names` ids of paths · `globs` one line of an ignore file · `rules` what is a document ·
`ignores` reading ignore files · `folders` opening without following · `walk` the listing ·
`mounts` what must be polled · `inotify`, `watch` hints · `writing` a file of freshd's own ·
`connector` all of it behind `ports.Connector`.
"""

from connectors.files.connector import FilesConnector, FilesOptions

__all__ = ["FilesConnector", "FilesOptions"]
