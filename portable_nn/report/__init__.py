"""Reports of a comparison, one file each: `table`, `interchange` (JSON), `pictures` and `page` (HTML)."""

from portable_nn.report.interchange import SCHEMA, from_json, to_json

__all__ = ["SCHEMA", "from_json", "to_json"]
