//! The databases among the push methods.

use device_model::Problem;
use serde_json::{Map, Value as Json, json};

use super::members::Members;
use crate::proto::{
    DbMethod, DbMethodInfluxdb2, DbMethodMySql, DbMethodRedis, DbMethodTdEngine,
    Influxdb2ClientConfig, Influxdb2DataConfig, MySqlClientConfig, RedisClientConfig,
    TdEngineClientConfig,
};

pub(super) fn to_proto(db: &Members) -> Result<DbMethod, Problem> {
    Ok(DbMethod {
        influxdb2: db.object("influxdb2")?.as_ref().map(influxdb2).transpose()?,
        redis: db.object("redis")?.as_ref().map(redis).transpose()?,
        tdengine: db.object("TDEngine")?.as_ref().map(tdengine).transpose()?,
        mysql: db.object("mysql")?.as_ref().map(mysql).transpose()?,
    })
}

fn influxdb2(db: &Members) -> Result<DbMethodInfluxdb2, Problem> {
    let client = |to: Members| {
        let (url, org, bucket) = (to.text("url")?, to.text("org")?, to.text("bucket")?);
        Ok(Influxdb2ClientConfig { url, org, bucket })
    };
    let data = |what: Members| {
        Ok(Influxdb2DataConfig {
            measurement: what.text("measurement")?,
            tag: what.texts("tag")?,
            field_key: what.text("fieldKey")?,
        })
    };
    Ok(DbMethodInfluxdb2 {
        influxdb2_client_config: db.object("influxdb2ClientConfig")?.map(client).transpose()?,
        influxdb2_data_config: db.object("influxdb2DataConfig")?.map(data).transpose()?,
    })
}

fn redis(db: &Members) -> Result<DbMethodRedis, Problem> {
    let client = |to: Members| {
        Ok(RedisClientConfig {
            addr: to.text("addr")?,
            db: to.integer("db")?,
            poolsize: to.integer("poolsize")?,
            min_idle_conns: to.integer("minIdleConns")?,
        })
    };
    let redis_client_config = db.object("redisClientConfig")?.map(client).transpose()?;
    Ok(DbMethodRedis { redis_client_config })
}

fn tdengine(db: &Members) -> Result<DbMethodTdEngine, Problem> {
    let client = |to: Members| {
        Ok(TdEngineClientConfig { addr: to.text("addr")?, dbname: to.text("dbName")? })
    };
    let td_engine_client_config = db.object("TDEngineClientConfig")?.map(client).transpose()?;
    Ok(DbMethodTdEngine { td_engine_client_config })
}

fn mysql(db: &Members) -> Result<DbMethodMySql, Problem> {
    let client = |to: Members| {
        Ok(MySqlClientConfig {
            addr: to.text("addr")?,
            database: to.text("database")?,
            user_name: to.text("userName")?,
        })
    };
    let mysql_client_config = db.object("mysqlClientConfig")?.map(client).transpose()?;
    Ok(DbMethodMySql { mysql_client_config })
}

pub(super) fn from_proto(db: DbMethod) -> Json {
    let influxdb2 = db.influxdb2.map(|db| {
        let client = |to: Influxdb2ClientConfig| {
            json!({ "url": to.url, "org": to.org, "bucket": to.bucket })
        };
        let data = |what: Influxdb2DataConfig| {
            json!({
                "measurement": what.measurement, "tag": what.tag, "fieldKey": what.field_key,
            })
        };
        object([
            ("influxdb2ClientConfig", db.influxdb2_client_config.map(client)),
            ("influxdb2DataConfig", db.influxdb2_data_config.map(data)),
        ])
    });
    let redis = db.redis.map(|db| {
        let client = |to: RedisClientConfig| {
            json!({
                "addr": to.addr, "db": to.db,
                "poolsize": to.poolsize, "minIdleConns": to.min_idle_conns,
            })
        };
        object([("redisClientConfig", db.redis_client_config.map(client))])
    });
    let tdengine = db.tdengine.map(|db| {
        let client = |to: TdEngineClientConfig| json!({ "addr": to.addr, "dbName": to.dbname });
        object([("TDEngineClientConfig", db.td_engine_client_config.map(client))])
    });
    let mysql = db.mysql.map(|db| {
        let client = |to: MySqlClientConfig| {
            json!({ "addr": to.addr, "database": to.database, "userName": to.user_name })
        };
        object([("mysqlClientConfig", db.mysql_client_config.map(client))])
    });
    object([("influxdb2", influxdb2), ("redis", redis), ("TDEngine", tdengine), ("mysql", mysql)])
}

fn object<const N: usize>(members: [(&str, Option<Json>); N]) -> Json {
    let present = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Json::Object(present.collect::<Map<_, _>>())
}
