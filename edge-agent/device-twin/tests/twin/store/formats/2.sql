-- Format 2, as it was released: not to be edited.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('syncs', 0);

-- The revision of a twin is the largest of `rev` and the `pv` of its properties: what a report changes is one row.
CREATE TABLE device (
    row          INTEGER PRIMARY KEY,
    namespace    TEXT NOT NULL,
    name         TEXT NOT NULL,
    uid          TEXT NOT NULL,
    rev          INTEGER NOT NULL DEFAULT 0,
    state        TEXT NOT NULL DEFAULT 'unknown',
    state_since  INTEGER NOT NULL DEFAULT 0,
    state_reason TEXT,
    problem      TEXT,
    last_online  INTEGER,
    UNIQUE (namespace, name)
) STRICT;

CREATE TABLE property (
    row    INTEGER PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES device ON DELETE CASCADE,
    name   TEXT NOT NULL,
    type   TEXT NOT NULL,
    UNIQUE (device, name)
) STRICT;

-- Times are milliseconds since 1970. A value has the column type of its property's type; a float that is no finite
-- number stands as text, since SQLite keeps no NaN.
CREATE TABLE desired (
    row                   INTEGER PRIMARY KEY REFERENCES property ON DELETE CASCADE,
    pv                    INTEGER NOT NULL,
    highest_generation    INTEGER NOT NULL,
    highest_cloud_version INTEGER NOT NULL,
    manifest              TEXT,
    value                 ANY,
    generation            INTEGER,
    set_at                INTEGER,
    writer                TEXT,
    expires_at            INTEGER,
    cloud_version         INTEGER,
    beneath_value         ANY,
    beneath_set_at        INTEGER,
    beneath_cloud_version INTEGER,
    ack_code              INTEGER,
    ack_detail            TEXT,
    ack_at                INTEGER
) STRICT;

CREATE TABLE reported (
    row         INTEGER PRIMARY KEY REFERENCES property ON DELETE CASCADE,
    pv          INTEGER NOT NULL,
    value       ANY,
    quality     TEXT NOT NULL,
    code        TEXT NOT NULL,
    source_time INTEGER,
    sample_time INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

-- An empty property stands for the whole device.
CREATE TABLE tombstone (
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    property   TEXT NOT NULL,
    uid        TEXT NOT NULL,
    rev        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL,
    confirmed  INTEGER NOT NULL,
    PRIMARY KEY (namespace, name, property)
) STRICT, WITHOUT ROWID;

CREATE TABLE confirmation (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    uid       TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    rev       INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE object (
    kind             TEXT NOT NULL,
    namespace        TEXT NOT NULL,
    name             TEXT NOT NULL,
    uid              TEXT NOT NULL,
    resource_version TEXT NOT NULL,
    body             BLOB NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) STRICT;

UPDATE meta SET value = 1795262400000 WHERE key = 'epoch';
INSERT INTO device VALUES (1,'demo','pump','0c1d',41,'online',1800000001000,'it''s said; so','port = "70000": out of range',1800000002000);
INSERT INTO device VALUES (2,'demo','fan','7e2f',1,'unknown',0,NULL,NULL,NULL);
INSERT INTO property VALUES (1,1,'speed','int'),(2,1,'pressure','float'),(3,1,'level','double'),(4,1,'label','string'),(5,1,'running','boolean'),(6,1,'raw','bytes');
INSERT INTO desired VALUES (1,42,3,0,'70',1450,3,1800000003000,'local:api',1800003600000,NULL,NULL,NULL,NULL,209,'read back',1800000004000);
INSERT INTO desired VALUES (4,12,9,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO desired VALUES (5,13,2,7,NULL,1,2,1800000003000,'cloud',NULL,7,0,1800000002500,6,NULL,NULL,NULL);
INSERT INTO reported VALUES (1,43,-9223372036854775808,'good','ok',1800000004500,1800000005000,1800000005100);
INSERT INTO reported VALUES (2,20,0.10000000149011612,'bad','sensor_failure',NULL,1800000006000,1800000006100);
INSERT INTO reported VALUES (3,21,'NaN','uncertain','clamped',NULL,1800000006000,1800000006100);
INSERT INTO reported VALUES (6,22,X'00ff07','good','ok',NULL,1800000006000,1800000006100);
INSERT INTO tombstone VALUES ('demo','pump','depth','0c1d',30,4,1800000007000,0),('demo','gone','','9a9a',5,0,1800000008000,1);
INSERT INTO confirmation VALUES ('demo','pump','0c1d',1795262400000,40);
INSERT INTO object VALUES ('Mapper','','go-1','','',X'7b7d');
INSERT INTO meta VALUES ('journal', -6148914691236517206);
PRAGMA user_version = 2;
